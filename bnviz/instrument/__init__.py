"""Looking into any torch module and giving it back as it was: which layer runs, what goes in and out."""
