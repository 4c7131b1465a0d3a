"""The recogniser of layouts: what each image of a folder is, told from names, masks and annotations."""
