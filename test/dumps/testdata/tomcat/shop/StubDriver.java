package shop;

import java.lang.reflect.Proxy;
import java.sql.*;
import java.util.Properties;
import java.util.logging.Logger;

/** A database that answers nothing to anything. */
public class StubDriver implements Driver {
    @Override
    public Connection connect(String url, Properties info) {
        return (Connection) Proxy.newProxyInstance(StubDriver.class.getClassLoader(), new Class<?>[] {Connection.class}, (proxy, method, args) -> {
            if (method.getReturnType() == boolean.class) {
                return method.getName().equals("isValid");
            }
            if (method.getReturnType() == int.class) {
                return method.getName().equals("hashCode") ? System.identityHashCode(proxy) : 0;
            }
            return null;
        });
    }

    @Override
    public boolean acceptsURL(String url) {
        return url.startsWith("jdbc:stub:");
    }

    @Override
    public DriverPropertyInfo[] getPropertyInfo(String url, Properties info) {
        return new DriverPropertyInfo[0];
    }

    @Override
    public int getMajorVersion() {
        return 1;
    }

    @Override
    public int getMinorVersion() {
        return 0;
    }

    @Override
    public boolean jdbcCompliant() {
        return false;
    }

    @Override
    public Logger getParentLogger() {
        return Logger.getGlobal();
    }
}
