"""The strategies that come with kon. Each is a plug-in: it imports only kon's values and abstract classes."""
