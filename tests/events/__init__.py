"""Tests of the event contracts: pure functions, so no broker, no database, no clock."""
