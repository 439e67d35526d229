"""What OpenTelemetry is told: spans and measurements, by the names of the semantic conventions."""
