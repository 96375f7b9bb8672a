import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;

/**
 * An internal service over REST that calls as an operator: a change freeze. {@code on REASON} pauses every rollout that runs, so that no
 * device begins an update during an incident; {@code off REASON} lets those go on that it paused for that reason, and no others.
 *
 * <p>From outside: SERVICE (http…) and TOKEN (an operator's). It needs a JDK of 11 or newer and Jackson. {@code ./build OUT} compiles it,
 * or nothing does: {@code java -cp JARS ChangeFreeze.java on "incident 42"}. Over gRPC the same calls are ListRollouts, PauseRollout
 * and ResumeRollout, with the code of docs/languages.md.
 */
public final class ChangeFreeze {
  private static final int TRIES = 5;

  private final HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10)).build();
  private final ObjectMapper json = new ObjectMapper();
  private final String service = System.getenv("SERVICE");
  private final String token = System.getenv("TOKEN");

  public static void main(String[] arguments) throws Exception {
    if (arguments.length != 2 || !List.of("on", "off").contains(arguments[0])) {
      System.err.println("usage: ChangeFreeze on|off REASON");
      System.exit(2);
    }
    try {
      ChangeFreeze freeze = new ChangeFreeze();
      boolean isDone = arguments[0].equals("on") ? freeze.on(arguments[1]) : freeze.off(arguments[1]);
      System.exit(isDone ? 0 : 1);
    } catch (Refusal refusal) {
      System.err.println(refusal.getMessage());
      System.exit(1);
    }
  }

  private boolean on(String reason) throws IOException, InterruptedException {
    for (JsonNode rollout : rollouts("RUNNING")) act(rollout, "pause", reason);
    // One may have been started in the meantime, or could not be paused: then the freeze does not hold, and somebody must know.
    List<JsonNode> left = rollouts("RUNNING");
    for (JsonNode rollout : left) System.err.println(nameOf(rollout) + " still runs");
    return left.isEmpty();
  }

  private boolean off(String reason) throws IOException, InterruptedException {
    boolean isDone = true;
    for (JsonNode rollout : rollouts("PAUSED"))
      if (rollout.path("stateReason").asText().equals(reason)) isDone &= act(rollout, "resume", "over: " + reason);
    return isDone;
  }

  /** A verb on one rollout; false if it is refused, for example because the rollout is over by now. */
  private boolean act(JsonNode rollout, String verb, String reason) throws IOException, InterruptedException {
    try {
      String path = "/api/v1/rollouts/" + rollout.path("id").asText() + ":" + verb;
      JsonNode answer = call("POST", path, json.writeValueAsString(Map.of("reason", reason)));
      System.out.println(nameOf(rollout) + ": " + answer.at("/rollout/state").asText());
      return true;
    } catch (Refusal refusal) {
      System.err.println(nameOf(rollout) + ": " + refusal.getMessage());
      return false;
    }
  }

  private static String nameOf(JsonNode rollout) {
    return rollout.path("name").asText() + " (" + rollout.path("id").asText() + ")";
  }

  /** All rollouts in a state, read to the last page before any is changed: changes would move the pages. */
  private List<JsonNode> rollouts(String state) throws IOException, InterruptedException {
    List<JsonNode> all = new ArrayList<>();
    String pageToken = "";
    do {
      JsonNode page = call("GET", "/api/v1/rollouts?states=" + state + "&page_size=200&page_token=" + URLEncoder.encode(pageToken, UTF_8), null);
      page.path("rollouts").forEach(all::add);
      pageToken = page.path("nextPageToken").asText();
    } while (!pageToken.isEmpty());
    return all;
  }

  /** One call; what is temporary is tried again, for every one of these calls may be repeated. */
  private JsonNode call(String method, String path, String body) throws IOException, InterruptedException {
    HttpRequest request = HttpRequest.newBuilder(URI.create(service + path))
        .timeout(Duration.ofSeconds(30))
        .header("authorization", "Bearer " + token)
        .header("content-type", "application/json")
        .method(method, body == null ? HttpRequest.BodyPublishers.noBody() : HttpRequest.BodyPublishers.ofString(body))
        .build();
    for (int attempt = 1; ; attempt++) {
      long waitMs = ThreadLocalRandom.current().nextLong(1000L << attempt);
      try {
        HttpResponse<String> answer = http.send(request, BodyHandlers.ofString());
        if (answer.statusCode() / 100 == 2) return json.readTree(answer.body());
        boolean isTemporary = answer.statusCode() == 429 || answer.statusCode() == 503;
        if (!isTemporary || attempt == TRIES) throw refusalOf(answer);
        waitMs = Math.max(waitMs, answer.headers().firstValueAsLong("retry-after").orElse(0) * 1000);
      } catch (IOException broken) {
        if (attempt == TRIES) throw broken;
      }
      Thread.sleep(waitMs);
    }
  }

  /** What the service says is wrong: words for people, and the reason for programs. */
  private Refusal refusalOf(HttpResponse<String> answer) {
    try {
      JsonNode status = json.readTree(answer.body());
      for (JsonNode detail : status.path("details"))
        if (detail.path("@type").asText().endsWith("/google.rpc.ErrorInfo"))
          return new Refusal(detail.path("reason").asText() + ": " + status.path("message").asText());
      return new Refusal(status.path("message").asText());
    } catch (IOException notOurs) { // of a proxy, say
      return new Refusal("HTTP " + answer.statusCode());
    }
  }

  private static final class Refusal extends RuntimeException {
    Refusal(String message) {
      super(message);
    }
  }
}
