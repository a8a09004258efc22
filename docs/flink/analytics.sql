-- The topic analytics as a table of Flink SQL: sql-client.sh -f analytics.sql
CREATE TABLE analytics (
    event_id STRING NOT NULL,
    event_time TIMESTAMP_LTZ(3) NOT NULL,
    item STRING NOT NULL,
    quantity BIGINT NOT NULL,
    amount_micros BIGINT,
    -- How late an event may come and still count in its window.
    WATERMARK FOR event_time AS event_time - INTERVAL '2' DAY
) WITH (
    'connector' = 'kafka',
    'topic' = 'analytics',
    'properties.bootstrap.servers' = '127.0.0.1:9092',
    'properties.isolation.level' = 'read_committed',
    'scan.startup.mode' = 'earliest-offset',
    -- To the end of now; without this line the statements go on forever.
    'scan.bounded.mode' = 'latest-offset',
    'format' = 'json',
    'json.timestamp-format.standard' = 'ISO-8601'
);

-- The figures of all time: what was sent twice counts once.
SELECT COUNT(*) AS events, SUM(quantity) AS items_sold, SUM(amount_micros) AS net_revenue_micros
FROM (SELECT DISTINCT event_id, quantity, amount_micros FROM analytics);

-- What was sold of each item a day.
SELECT window_start, item, SUM(quantity) AS items_sold
FROM TABLE(TUMBLE(TABLE analytics, DESCRIPTOR(event_time), INTERVAL '1' DAY))
GROUP BY window_start, window_end, item;
