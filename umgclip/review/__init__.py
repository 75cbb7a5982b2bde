"""People in the loop: images that are worth a look go to a labelling tool, and corrections come back."""
