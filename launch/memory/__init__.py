"""What training needs of a GPU's memory: an estimate from the recipe and the model's shape alone."""
