"""Commands that begin a service: configuration, topics, references, and checks of them."""
