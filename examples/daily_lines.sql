-- What was bought so many at a time. Columns with names of ours are audited against the stream.
SELECT
  quantity,
  count(*) AS events,
  sum(quantity) AS items_sold,
  coalesce(sum(amount_micros), 0) AS net_revenue_micros,
  count(DISTINCT "user") AS buyers
FROM analytics_event
WHERE event_time >= :start_at AND event_time < :end_at
GROUP BY quantity
