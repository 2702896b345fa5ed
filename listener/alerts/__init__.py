"""From events to alerts, and to the sinks that deliver them."""
