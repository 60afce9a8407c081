"""Files that people write: zoos of models, lists of benchmark datasets, single datasets."""
