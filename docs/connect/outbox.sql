-- The outbox of a shop: written in the transaction that writes the sale, so that neither is without the other.
CREATE TABLE outbox (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    aggregatetype text NOT NULL DEFAULT 'purchases',
    aggregateid text NOT NULL,  -- the key in Kafka: the user, whose purchases then stay in their order
    type text NOT NULL DEFAULT 'purchase',
    payload jsonb NOT NULL  -- the purchase, with its event_id
);

-- What Debezium reads. Only the owner of the table may create it, who need not be Debezium's user.
CREATE PUBLICATION purchases_outbox FOR TABLE outbox;

-- One purchase, as the shop's transaction writes it.
-- INSERT INTO outbox (aggregateid, payload) VALUES ('alice', '{"event_id": "…", "user": "alice", …}');
