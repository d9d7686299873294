"""From a float file and its ranges to the quantized file, as a converter writes it."""
