"""One folder for each thing that bnviz explains; no subject imports another."""
