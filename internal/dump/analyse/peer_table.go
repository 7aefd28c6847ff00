package analyse

import "strings"

// peers is whom libraries deal with, by the beginning of their names.
var peers = peerTable(map[Peer]string{
	Database: `org.postgresql. com.mysql. org.mariadb. oracle.jdbc. oracle.net. oracle.ucp. com.microsoft.sqlserver. com.ibm.db2. com.mongodb. com.datastax. net.sourceforge.jtds. com.clickhouse. tech.ydb. org.firebirdsql. org.h2. org.hsqldb.
		io.r2dbc. com.zaxxer.hikari. org.apache.commons.dbcp org.apache.tomcat.jdbc. com.mchange.v2.c3p0. com.mchange.v2.resourcepool. com.alibaba.druid. io.agroal. org.vibur.
		database/sql. github.com/jackc/ github.com/lib/pq github.com/go-sql-driver/ go.mongodb.org/ github.com/gocql/ github.com/ClickHouse/ github.com/microsoft/go-mssqldb github.com/sijms/go-ora gorm.io/`,
	HTTP: `org.apache.http. org.apache.hc. okhttp3. sun.net.www.protocol.http java.net.http. jdk.internal.net.http. feign. org.springframework.web.client. org.asynchttpclient. org.eclipse.jetty.client.
		net/http.(*Transport). net/http.(*Client). net/http.(*persistConn). github.com/valyala/fasthttp.(*HostClient)`,
	Cache:     `redis.clients. io.lettuce. org.redisson. net.spy.memcached. com.hazelcast. org.infinispan. com.aerospike. org.apache.ignite. github.com/redis/ github.com/go-redis/ github.com/bradfitz/gomemcache`,
	Queue:     `org.apache.kafka. com.rabbitmq. org.apache.activemq. org.apache.qpid. com.ibm.mq. com.ibm.msg. io.nats. org.apache.pulsar. org.apache.rocketmq. github.com/segmentio/kafka-go github.com/IBM/sarama github.com/Shopify/sarama github.com/twmb/franz-go github.com/nats-io/ github.com/rabbitmq/ github.com/streadway/amqp github.com/confluentinc/`,
	Directory: `com.sun.jndi.ldap. com.unboundid. org.ldaptive. org.apache.directory. github.com/go-ldap/`,
	Mail:      `com.sun.mail. javax.mail. jakarta.mail. org.eclipse.angus. net/smtp.`,
	Names:     `java.net.Inet4AddressImpl. java.net.Inet6AddressImpl. com.sun.jndi.dns. net.(*Resolver).`,
})

// pythonPeers is the same by the package of a file, or the file itself.
var pythonPeers = func() map[string]Peer {
	table := map[string]Peer{"http/client.py": HTTP, "urllib/request.py": HTTP}
	for peer, words := range map[Peer]string{
		Database:  "psycopg psycopg2 psycopg_pool sqlalchemy pymysql MySQLdb mysql asyncpg aiomysql aiopg pymongo oracledb cx_Oracle clickhouse_driver peewee cassandra pyodbc sqlite3",
		HTTP:      "requests urllib3 httpx httpcore botocore",
		Cache:     "redis aioredis pymemcache memcache",
		Queue:     "kafka aiokafka pika kombu amqp confluent_kafka",
		Directory: "ldap ldap3",
		Mail:      "smtplib.py imaplib.py poplib.py smtplib imaplib",
	} {
		for word := range strings.FieldsSeq(words) {
			table[word] = peer
		}
	}
	return table
}()

type peerRow struct {
	prefix string
	peer   Peer
}

// peerTable puts the rows in a fixed order; no prefix begins another.
func peerTable(words map[Peer]string) []peerRow {
	var rows []peerRow
	for _, peer := range []Peer{Database, HTTP, Cache, Queue, Directory, Mail, Names} {
		for prefix := range strings.FieldsSeq(words[peer]) {
			rows = append(rows, peerRow{prefix, peer})
		}
	}
	return rows
}

// borrows is the calls that give a connection out of a pool, and wait where it
// has none to give. The value is how people call the pool.
var borrows = borrowTable(map[string]string{
	"HikariCP":          "com.zaxxer.hikari.pool.HikariPool.getConnection",
	"DBCP":              "org.apache.commons.dbcp2.PoolingDataSource.getConnection org.apache.commons.dbcp2.BasicDataSource.getConnection org.apache.commons.dbcp.PoolingDataSource.getConnection org.apache.commons.dbcp.BasicDataSource.getConnection",
	"commons-pool":      "org.apache.commons.pool2.impl.GenericObjectPool.borrowObject org.apache.commons.pool2.impl.GenericKeyedObjectPool.borrowObject org.apache.commons.pool.impl.GenericObjectPool.borrowObject org.apache.commons.pool.impl.GenericKeyedObjectPool.borrowObject",
	"Tomcat JDBC":       "org.apache.tomcat.jdbc.pool.ConnectionPool.borrowConnection org.apache.tomcat.jdbc.pool.ConnectionPool.getConnection",
	"Tomcat DBCP":       "org.apache.tomcat.dbcp.dbcp2.PoolingDataSource.getConnection org.apache.tomcat.dbcp.pool2.impl.GenericObjectPool.borrowObject",
	"c3p0":              "com.mchange.v2.resourcepool.BasicResourcePool.awaitAvailable com.mchange.v2.resourcepool.BasicResourcePool.checkoutResource com.mchange.v2.c3p0.impl.C3P0PooledConnectionPool.checkoutPooledConnection",
	"Druid":             "com.alibaba.druid.pool.DruidDataSource.takeLast com.alibaba.druid.pool.DruidDataSource.pollLast com.alibaba.druid.pool.DruidDataSource.getConnectionInternal com.alibaba.druid.pool.DruidDataSource.getConnectionDirect",
	"UCP":               "oracle.ucp.common.UniversalConnectionPoolBase.borrowConnection oracle.ucp.common.UniversalConnectionPoolImpl.borrowConnection",
	"Agroal":            "io.agroal.pool.ConnectionPool.getConnection io.agroal.pool.ConnectionPool.handlerFromSharedCache",
	"Vibur":             "org.vibur.objectpool.ConcurrentPool.tryTake org.vibur.dbcp.pool.PoolOperations.getProxyConnection",
	"MongoDB driver":    "com.mongodb.internal.connection.DefaultConnectionPool.get com.mongodb.internal.connection.ConcurrentPool.get com.mongodb.connection.DefaultConnectionPool.get",
	"Jedis":             "redis.clients.jedis.JedisPool.getResource redis.clients.jedis.util.Pool.getResource redis.clients.util.Pool.getResource",
	"Apache HttpClient": "org.apache.http.impl.conn.PoolingHttpClientConnectionManager.leaseConnection org.apache.http.pool.AbstractConnPool.getPoolEntryBlocking org.apache.hc.client5.http.impl.classic.InternalExecRuntime.acquireEndpoint org.apache.hc.core5.pool.StrictConnPool.lease",
	"database/sql":      "database/sql.(*DB).conn",
	"pgxpool":           "github.com/jackc/pgx/v5/pgxpool.(*Pool).Acquire github.com/jackc/pgx/v4/pgxpool.(*Pool).Acquire github.com/jackc/puddle/v2.(*Pool[...]).Acquire github.com/jackc/puddle.(*Pool).Acquire",
	"go-redis":          "github.com/redis/go-redis/v9/internal/pool.(*ConnPool).waitTurn github.com/redis/go-redis/v9/internal/pool.(*ConnPool).Get github.com/go-redis/redis/v8/internal/pool.(*ConnPool).waitTurn github.com/go-redis/redis/v8/internal/pool.(*ConnPool).Get",
	"SQLAlchemy":        "_do_get~sqlalchemy/pool/impl.py)",
	"psycopg_pool":      "getconn~psycopg_pool/pool.py)",
	"urllib3":           "_get_conn~urllib3/connectionpool.py)",
	"redis-py":          "get_connection~redis/connection.py)",
})

func borrowTable(words map[string]string) map[string]string {
	table := map[string]string{}
	for pool, names := range words {
		for name := range strings.FieldsSeq(names) {
			table[strings.ReplaceAll(name, "~", " (")] = pool
		}
	}
	return table
}
