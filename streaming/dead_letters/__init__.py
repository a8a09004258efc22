"""Dead letters: inspect, repair and redrive. The store keeps their states, `purchases.dlq` them."""
