import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.ResultKind;
import org.apache.flink.table.api.TableEnvironment;

/** Runs the statements of a file, as Flink's SQL client does, and prints the rows of each. */
public class RunSql {
    public static void main(String[] arguments) throws Exception {
        var flink = TableEnvironment.create(EnvironmentSettings.inStreamingMode());
        flink.getConfig().set("parallelism.default", "1").set("table.local-time-zone", "UTC");
        for (String statement : Files.readString(Path.of(arguments[0])).strip().split(";\\s*(\\n|$)")) {
            var result = flink.executeSql(statement);
            if (result.getResultKind() == ResultKind.SUCCESS_WITH_CONTENT) {
                System.out.println("rows");
                result.collect().forEachRemaining(System.out::println);
            }
        }
    }
}
