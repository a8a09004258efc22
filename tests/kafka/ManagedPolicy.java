import java.util.Map;
import org.apache.kafka.common.errors.PolicyViolationException;
import org.apache.kafka.server.policy.CreateTopicPolicy;

/** What a managed cluster refuses of a new topic's options, in the words of Confluent Cloud. */
public class ManagedPolicy implements CreateTopicPolicy {
    private static final long MAX_MESSAGE_BYTES = 8_388_608;

    @Override
    public void validate(RequestMetadata request) {
        Map<String, String> options = request.configs();
        String bytes = options.get("max.message.bytes");
        if (bytes != null && Long.parseLong(bytes) > MAX_MESSAGE_BYTES) {
            throw new PolicyViolationException("Config property 'max.message.bytes' with value '"
                + bytes + "' exceeded max limit of " + MAX_MESSAGE_BYTES + ".");
        }
        // Kafka's own topics are created by the cluster.
        if (options.containsKey("compression.type") && !request.topic().startsWith("__")) {
            throw new PolicyViolationException(
                "Altering topic config property 'compression.type' is disallowed.");
        }
    }

    @Override
    public void configure(Map<String, ?> options) {}

    @Override
    public void close() {}
}
