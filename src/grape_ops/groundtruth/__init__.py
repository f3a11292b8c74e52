"""Known complexes and relations that a gene map is judged by."""
