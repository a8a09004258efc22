"""The JSON API's vocabulary: what an endpoint is, its route, its schema. No figure is in here."""
