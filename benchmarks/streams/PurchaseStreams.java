import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.nio.charset.StandardCharsets;
import java.time.DateTimeException;
import java.time.Duration;
import java.time.Instant;
import java.time.OffsetDateTime;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeFormatterBuilder;
import java.time.temporal.ChronoUnit;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import java.util.UUID;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;

/**
 * The processor's work as a Kafka Streams program: validate, enrich, republish, and refuse to the
 * dead-letter topic, exactly once.
 *
 * <p>Arguments: bootstrap servers, application id, the topics purchases, analytics and
 * purchases.dlq, state directory, linger and commit interval in ms. It works until SIGTERM.
 */
public final class PurchaseStreams {
    private static final String ANALYTICS = "analytics";
    private static final String DEAD_LETTERS = "dead-letters";

    private PurchaseStreams() {}

    public static void main(String[] args) {
        var topology = new Topology()
                .addSource("purchases", new ByteArrayDeserializer(), new ByteArrayDeserializer(), args[2])
                .addProcessor("validate", Validate::new, "purchases")
                .addSink(ANALYTICS, args[3], new ByteArraySerializer(), new ByteArraySerializer(), "validate")
                .addSink(DEAD_LETTERS, args[4], new ByteArraySerializer(), new ByteArraySerializer(), "validate");
        var config = new Properties();
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
        config.put(StreamsConfig.STATE_DIR_CONFIG, args[5]);
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, args[7]);
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG), 6_000);
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG), 1_000);
        config.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
        config.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), args[6]);
        var streams = new KafkaStreams(topology, config);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
        streams.start();
    }

    /** Sends each record to one of the two sinks. */
    private static final class Validate extends ContextualProcessor<byte[], byte[], byte[], byte[]> {
        @Override
        public void process(Record<byte[], byte[]> record) {
            var source = context().recordMetadata().orElseThrow();
            try {
                var event = Purchase.enriched(record.value(), record.timestamp(), source);
                var name = event.hasNonNull("user") ? event.get("user") : event.get("order_id");
                var key = name == null || name.textValue().isEmpty()
                        ? record.key()
                        : name.textValue().getBytes(StandardCharsets.UTF_8);
                context().forward(record.withKey(key).withValue(Purchase.JSON.writeValueAsBytes(event)), ANALYTICS);
            } catch (Refused refused) {
                context().forward(record.withHeaders(verdict(refused, record, source)), DEAD_LETTERS);
            } catch (JsonProcessingException error) {
                throw new IllegalStateException(error);
            }
        }

        private static Headers verdict(Refused refused, Record<byte[], byte[]> record, RecordMetadata source) {
            var headers = new RecordHeaders(record.headers());
            add(headers, "dlq.reason", refused.reason);
            add(headers, "dlq.detail", refused.getMessage());
            add(headers, "dlq.version", 1);
            add(headers, "dlq.attempt", 1);
            add(headers, "dlq.topic", source.topic());
            add(headers, "dlq.partition", source.partition());
            add(headers, "dlq.offset", source.offset());
            add(headers, "dlq.timestamp", record.timestamp());
            return headers;
        }

        private static void add(Headers headers, String name, Object value) {
            headers.add(name, value.toString().getBytes(StandardCharsets.UTF_8));
        }
    }

    /** The rules of a purchase. */
    private static final class Purchase {
        static final ObjectMapper JSON = new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
        private static final int MAX_BYTES = 256 * 1024;
        private static final int MAX_QUANTITY = 1_000_000;
        private static final BigDecimal LIMIT = BigDecimal.valueOf(1_000_000_000);
        private static final Instant HISTORY_START = Instant.parse("2010-01-01T00:00:00Z");
        private static final DateTimeFormatter MICROSECONDS =
                new DateTimeFormatterBuilder().appendInstant(6).toFormatter();

        static ObjectNode enriched(byte[] value, long appendedAt, RecordMetadata source) {
            var purchase = object(value);
            for (var field : List.of("user", "item", "timestamp")) {
                require(purchase.has(field), "missing_field", field);
            }
            var quantity = quantity(purchase.get("quantity"));
            var price = price(purchase.get("unit_price"));
            var currency = text(purchase, "currency", 0, 3, "unsupported_currency");
            require(currency == null || currency.equals("GBP"), "unsupported_currency", "currency");

            var event = JsonNodeFactory.instance.objectNode();
            event.put("event_id", eventId(purchase, source));
            event.put("event_time", MICROSECONDS.format(time(purchase.get("timestamp"), appendedAt)));
            event.put("kind", quantity > 0 ? "sale" : "return");
            require(purchase.get("item").isTextual(), "wrong_type", "item");
            event.put("item", text(purchase, "item", 1, 128, "invalid_item"));
            event.put("quantity", quantity);
            event.put("currency", "GBP");
            event.put("processed_at", MICROSECONDS.format(Instant.now()));
            event.put("source_topic", source.topic());
            event.put("source_partition", source.partition());
            event.put("source_offset", source.offset());
            event.put("source_timestamp", appendedAt);
            event.put("schema_version", 1);
            putIfPresent(event, "user", text(purchase, "user", 1, 128, "invalid_user"));
            if (price != null) {
                var amount = price.multiply(BigDecimal.valueOf(quantity));
                require(amount.abs().compareTo(LIMIT) <= 0, "invalid_price", "quantity times unit_price");
                event.put("unit_price_micros", price.movePointRight(6).longValueExact());
                event.put("amount_micros", amount.movePointRight(6).longValueExact());
            }
            for (var field : List.of("order_id", "description", "country")) {
                putIfPresent(event, field, text(purchase, field, 0, 1024, "invalid_text"));
            }
            return event;
        }

        private static JsonNode object(byte[] value) {
            require(value != null && value.length > 0, "empty", "value");
            require(value.length <= MAX_BYTES, "too_large", "value");
            try {
                var purchase = JSON.readTree(value);
                require(purchase.isObject(), "wrong_type", "value");
                return purchase;
            } catch (IOException error) {
                throw new Refused("malformed_json", "value");
            }
        }

        private static int quantity(JsonNode node) {
            if (isAbsent(node)) {
                return 1;
            }
            require(node.isIntegralNumber(), "wrong_type", "quantity");
            var quantity = node.canConvertToInt() ? node.intValue() : 0;
            require(quantity != 0 && Math.abs((long) quantity) <= MAX_QUANTITY, "invalid_quantity", "quantity");
            return quantity;
        }

        /** Gives the price with six decimals at most, or null where it is unknown. */
        private static BigDecimal price(JsonNode node) {
            if (isAbsent(node)) {
                return null;
            }
            require(node.isTextual() || node.isNumber(), "wrong_type", "unit_price");
            var price = node.isTextual() ? decimal(node.textValue()) : node.decimalValue();
            if (node.isNumber()) {
                price = price.setScale(6, RoundingMode.HALF_EVEN);
            }
            var inRange = price.signum() >= 0 && price.compareTo(LIMIT) <= 0;
            require(inRange && price.scale() >= 0 && price.scale() <= 6, "invalid_price", "unit_price");
            return price;
        }

        private static BigDecimal decimal(String text) {
            require(text.length() <= 20, "invalid_price", "unit_price");
            try {
                return new BigDecimal(text);
            } catch (NumberFormatException error) {
                throw new Refused("invalid_price", "unit_price");
            }
        }

        private static Instant time(JsonNode node, long appendedAt) {
            require(node.isTextual() || node.isIntegralNumber(), "wrong_type", "timestamp");
            Instant time;
            try {
                time = node.isTextual()
                        ? OffsetDateTime.parse(node.textValue()).toInstant().truncatedTo(ChronoUnit.MICROS)
                        : Instant.ofEpochMilli(node.longValue());
            } catch (DateTimeException error) {
                throw new Refused("invalid_timestamp", "timestamp");
            }
            require(!time.isBefore(HISTORY_START), "timestamp_too_old", "timestamp");
            var latest = Instant.ofEpochMilli(appendedAt).plus(1, ChronoUnit.DAYS);
            require(!time.isAfter(latest), "timestamp_in_future", "timestamp");
            return time;
        }

        private static String eventId(JsonNode purchase, RecordMetadata source) {
            var text = text(purchase, "event_id", 36, 36, "invalid_event_id");
            if (text == null) {
                var place = source.topic() + "/" + source.partition() + "@" + source.offset();
                return UUID.nameUUIDFromBytes(place.getBytes(StandardCharsets.UTF_8)).toString();
            }
            try {
                var id = UUID.fromString(text).toString();
                require(id.equals(text.toLowerCase(Locale.ROOT)), "invalid_event_id", "event_id");
                return id;
            } catch (IllegalArgumentException error) {
                throw new Refused("invalid_event_id", "event_id");
            }
        }

        /** Gives a text within its length, or null where it is absent. */
        private static String text(JsonNode purchase, String field, int least, int most, String reason) {
            var node = purchase.get(field);
            if (isAbsent(node)) {
                return null;
            }
            require(node.isTextual(), "wrong_type", field);
            var text = node.textValue();
            var length = text.codePointCount(0, text.length());
            require(least <= length && length <= most, reason, field);
            require(text.indexOf('\0') < 0, "invalid_text", field);
            return text;
        }

        private static void putIfPresent(ObjectNode event, String field, String text) {
            if (text != null) {
                event.put(field, text);
            }
        }

        private static boolean isAbsent(JsonNode node) {
            return node == null || node.isNull();
        }

        private static void require(boolean holds, String reason, String field) {
            if (!holds) {
                throw new Refused(reason, field);
            }
        }
    }

    /** Why a purchase is refused: the code, and the field as the message. */
    private static final class Refused extends RuntimeException {
        final String reason;

        Refused(String reason, String field) {
            super(field, null, false, false);
            this.reason = reason;
        }
    }
}
