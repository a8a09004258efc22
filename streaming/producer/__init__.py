"""ProducerApp: purchases, generated or recorded, sent to `purchases`; no group is consumed here."""
