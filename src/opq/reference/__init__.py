"""The NumPy definition of the file format, the codec, the operators and their execution. Never imports the compiled core."""
