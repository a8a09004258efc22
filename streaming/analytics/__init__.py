"""AnalyticsConsumerApp: stores what the processor published, exactly once."""
