"""``python -m bnviz``."""

from bnviz.cli import main

main()
