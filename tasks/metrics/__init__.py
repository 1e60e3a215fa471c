"""Pure scorers, one file each: corpus(predictions, references) -> value. No torch."""
