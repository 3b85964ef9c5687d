"""The learner's blog post that bnviz reproduces: its open questions, what it does differently, its log."""
