"""One claim, one file. The files never import each other; `analysis.judge` lists them."""
