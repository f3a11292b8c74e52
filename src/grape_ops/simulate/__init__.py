"""The simulated screen: raw fields of cells with planted phenotypes."""
