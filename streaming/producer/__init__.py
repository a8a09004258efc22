"""ProducerApp: purchases, made up or recorded, sent to `purchases`; no group is consumed here."""
