"""Dead letters that one can live with: read back, repaired, sent again."""
