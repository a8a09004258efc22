"""The JSON API's vocabulary: endpoints, their schema, and the addresses of servers."""
