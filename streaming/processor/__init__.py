"""PurchaseProcessorApp: validates, enriches and republishes, exactly once."""
