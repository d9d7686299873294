"""A dense layer from arrays, for those who have no .tflite file."""
