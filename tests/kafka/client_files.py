"""The files that Confluent Cloud hands out for each kind of client, as its pages show them.

In each `{servers}`, `{user}`, `{password}` and `{authority}` stand for what is a cluster's own, and
`{endpoint}` for where tokens are given out.
"""

from typing import Final

REGISTRY = """
# Required connection configs for Confluent Cloud Schema Registry
schema.registry.url=https://psrc-abcde.europe-west1.gcp.confluent.cloud
basic.auth.credentials.source=USER_INFO
basic.auth.user.info=REGISTRYKEY:REGISTRYSECRET
"""
PYTHON = """\
# Required connection configs for Kafka producer, consumer, and admin
bootstrap.servers={servers}
security.protocol=SASL_SSL
sasl.mechanisms=PLAIN
sasl.username={user}
sasl.password={password}

# Best practice for higher availability in librdkafka clients prior to 1.7
session.timeout.ms=45000

client.id=ccloud-python-client-5c7d2f9a
ssl.ca.location={authority}
"""
PYTHON_OIDC = """\
bootstrap.servers={servers}
security.protocol=SASL_SSL
sasl.mechanisms=OAUTHBEARER
sasl.oauthbearer.method=OIDC
sasl.oauthbearer.client.id={user}
sasl.oauthbearer.client.secret={password}
sasl.oauthbearer.token.endpoint.url={endpoint}
sasl.oauthbearer.scope=kafka
sasl.oauthbearer.extensions=logicalCluster=lkc-abc123,identityPoolId=pool-x1
ssl.ca.location={authority}
"""
_JAVA = """\
# Required connection configs for Kafka producer, consumer, and admin
bootstrap.servers={servers}
security.protocol=SASL_SSL
MECHANISM
# Required for correctness in Apache Kafka clients prior to 2.6
client.dns.lookup=use_all_dns_ips

# Best practice for higher availability in Apache Kafka clients prior to 3.0
session.timeout.ms=45000

# Best practice for Kafka producer to prevent data loss
acks=all

client.id=ccloud-java-client-5c7d2f9a
ssl.truststore.type=PEM
ssl.truststore.location={authority}
"""
_SECURITY = "org.apache.kafka.common.security"
JAVA_PLAIN = _JAVA.replace(
    "MECHANISM",
    f"sasl.jaas.config={_SECURITY}.plain.PlainLoginModule required"
    " username='{user}' password='{password}';\nsasl.mechanism=PLAIN",
)
JAVA_SCRAM = "\ufeff" + _JAVA.replace(
    "MECHANISM",
    f"sasl.jaas.config={_SECURITY}.scram.ScramLoginModule required \\\n"
    '  username="{user}" \\\n  password="{password}";\nsasl.mechanism=SCRAM-SHA-512\n'
    "key.serializer=org.apache.kafka.common.serialization.StringSerializer\n"
    "value.deserializer=io.confluent.kafka.serializers.KafkaAvroDeserializer",
)
JAVA_OAUTH = _JAVA.replace(
    "MECHANISM",
    "sasl.mechanism=OAUTHBEARER\n"
    f"sasl.login.callback.handler.class={_SECURITY}.oauthbearer.OAuthBearerLoginCallbackHandler\n"
    "sasl.login.connect.timeout.ms=15000\n"
    "sasl.oauthbearer.token.endpoint.url={endpoint}\n"
    f"sasl.jaas.config={_SECURITY}.oauthbearer.OAuthBearerLoginModule required \\\n"
    '  clientId="{user}" \\\n  clientSecret="{password}" \\\n  scope="kafka" \\\n'
    '  extension_logicalCluster="lkc-abc123" \\\n  extension_identityPoolId="pool-x1";',
)
CONFIG_INI = """\
[default]
; what the cluster's page says
bootstrap.servers={servers}
security.protocol=SASL_SSL
sasl.mechanisms=PLAIN
sasl.username={user}
sasl.password={password}
ssl.ca.location={authority}

[consumer]
group.id=python_example_group_1
# 'auto.offset.reset=earliest' to start reading from the beginning of
# the topic if no committed offsets exist.
auto.offset.reset=earliest
"""
FORMS: Final = {
    "python": PYTHON,
    "python-with-registry": PYTHON + REGISTRY,
    "python-oidc": PYTHON_OIDC,
    "java-plain": JAVA_PLAIN + REGISTRY,
    "java-scram": JAVA_SCRAM,
    "java-oauth": JAVA_OAUTH,
    "config.ini": CONFIG_INI,
}
