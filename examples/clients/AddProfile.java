// Adds a profile and prints the reply. Java 17, RabbitMQ's amqp-client.
//
//     AMQP_URL=amqp://… java -cp amqp-client.jar:slf4j-api.jar AddProfile.java '{"token": "…", "db_id": 1, …}'
import static java.nio.charset.StandardCharsets.UTF_8;

import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import java.io.IOException;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import javax.net.ssl.SSLContext;

public class AddProfile {
    static final Map<String, String> SETTINGS = System.getenv();
    static final String QUEUE = SETTINGS.getOrDefault("REQUEST_QUEUE", "profiles.add");
    static final long TIMEOUT_MS = 1000 * Long.parseLong(SETTINGS.getOrDefault("REPLY_TIMEOUT", "10"));
    static final int ATTEMPTS = 3;
    static final String REPLY_TO = "amq.rabbitmq.reply-to";

    /** Returns the reply. A refusal is a reply, too: look at its `error`. */
    static byte[] addProfile(String body, String messageId) throws Exception {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setUri(SETTINGS.get("AMQP_URL"));
        if (factory.isSSL()) {
            // Without this the library trusts every certificate. From 5.4 on, add enableHostnameVerification().
            factory.useSslProtocol(SSLContext.getDefault());
        }
        try (Connection connection = factory.newConnection(); Channel channel = connection.createChannel()) {
            CompletableFuture<byte[]> reply = new CompletableFuture<>();
            channel.addReturnListener(
                    returned -> reply.completeExceptionally(new IOException("there is no queue " + QUEUE)));
            // RabbitMQ wants the consumer there before the request that names it.
            channel.basicConsume(REPLY_TO, true, (tag, delivery) -> {
                if (messageId.equals(delivery.getProperties().getCorrelationId())) {
                    reply.complete(delivery.getBody());
                }
            }, tag -> reply.completeExceptionally(new IOException("the consumer was cancelled")));
            channel.confirmSelect();
            BasicProperties properties = new BasicProperties.Builder()
                    .contentType(body.startsWith("<") ? "application/xml" : "application/json")
                    .deliveryMode(2) // persistent
                    .messageId(messageId)
                    .correlationId(messageId)
                    .replyTo(REPLY_TO)
                    .build();
            // The same body with the same messageId is the same request, so it is safe to send it again.
            for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
                boolean mandatory = true;
                channel.basicPublish("", QUEUE, mandatory, properties, body.getBytes(UTF_8));
                channel.waitForConfirmsOrDie(TIMEOUT_MS);
                try {
                    return reply.get(TIMEOUT_MS, TimeUnit.MILLISECONDS);
                } catch (TimeoutException again) {
                    continue;
                }
            }
        }
        throw new TimeoutException(
                "no reply to " + ATTEMPTS + " attempts; MESSAGE_ID=" + messageId + " continues this request");
    }

    public static void main(String[] arguments) {
        if (arguments.length != 1) {
            System.err.println("give the body of the request");
            System.exit(1);
        }
        try {
            String messageId = SETTINGS.getOrDefault("MESSAGE_ID", UUID.randomUUID().toString());
            System.out.writeBytes(addProfile(arguments[0], messageId));
            System.out.println();
        } catch (Exception error) {
            Throwable cause = error instanceof ExecutionException ? error.getCause() : error;
            System.err.println(cause.getMessage() == null ? cause : cause.getMessage());
            System.exit(1);
        }
    }
}
