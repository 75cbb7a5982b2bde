"""The grammars in which models give boxes or points, one module each; `registry` has a row for each."""
