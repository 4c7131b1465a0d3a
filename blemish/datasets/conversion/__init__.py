"""From annotations to a data set, from a data set to lists, and new splits."""
