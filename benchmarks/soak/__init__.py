"""The service under long use: whether memory, descriptors, threads or files grow."""
