"""Tests of ProducerApp: generated and recorded purchases, and their sending."""
