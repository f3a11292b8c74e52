"""Evaluating a gene map: pure-array cores, one thin table function."""
