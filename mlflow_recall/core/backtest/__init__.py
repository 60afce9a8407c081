"""The back-test: recommenders and policies replayed on recorded history, dataset by dataset."""
