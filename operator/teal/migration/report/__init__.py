"""What status and Events say."""
