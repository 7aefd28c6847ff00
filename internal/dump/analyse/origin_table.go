package analyse

import "strings"

// The tables behind OriginOf. A prefix is listed where services are often seen
// to hang in it, or where it fills their stacks.

var javaRuntime = []string{"java.", "javax.", "sun.", "com.sun.", "jdk.", "netscape.", "org.ietf.jgss.", "org.w3c.dom.", "org.xml.sax.", "kotlin.", "scala.", "groovy.lang.", "clojure.lang."}

var javaLibraries = strings.Fields(`
	akka. brave. ch.qos. clojure.core. co.elastic. com.alibaba.dubbo. com.alibaba.druid. com.amazonaws. com.aerospike. com.atomikos. com.couchbase. com.codahale. com.datastax.
	com.fasterxml. com.github.benmanes. com.google.api. com.google.cloud. com.google.common. com.google.gson. com.google.inject. com.google.protobuf.
	com.hazelcast. com.ibm.db2. com.ibm.mq. com.ibm.ws. com.lmax. com.mchange. com.microsoft.azure. com.microsoft.sqlserver. com.mongodb. com.mysql. com.netflix.
	com.rabbitmq. com.squareup. com.sun.faces. com.sun.jersey. com.sun.mail. com.sun.xml.ws. com.taobao. com.typesafe. com.vaadin. com.zaxxer. dev.failsafe.
	feign. freemarker. groovy. groovyx. io.agroal. io.confluent. io.dropwizard. io.fabric8. io.grpc. io.jsonwebtoken. io.kubernetes. io.lettuce. io.micrometer.
	io.micronaut. io.minio. io.netty. io.nats. io.opentelemetry. io.opentracing. io.prometheus. io.projectreactor. io.quarkus. io.r2dbc. io.reactivex. io.smallrye. io.undertow. io.vertx.
	jakarta. javassist. javax.activation. javax.annotation. javax.cache. javax.ejb. javax.enterprise. javax.faces. javax.inject. javax.jms. javax.mail. javax.persistence. javax.servlet.
	javax.transaction. javax.validation. javax.websocket. javax.ws. kotlinx. liquibase. net.bytebuddy. net.logstash. net.sf. net.spy. net.sourceforge. net.ttddyy. nl.altindag. ognl. okhttp3. okio. oracle.
	org.agrona. org.antlr. org.apache. org.aspectj. org.bouncycastle. org.codehaus. org.cometd. org.drools. org.eclipse. org.ehcache. org.elasticsearch. org.firebirdsql. org.flywaydb.
	org.glassfish. org.gradle. org.graylog. org.h2. org.hibernate. org.hsqldb. org.infinispan. org.ini4j. org.jboss. org.jctools. org.jetbrains. org.jgroups. org.joda. org.jooq.
	org.jsoup. org.junit. org.keycloak. org.kie. org.mariadb. org.mockito. org.mongodb. org.mortbay. org.mybatis. org.neo4j. org.objectweb. org.opensearch. org.osgi. org.owasp. org.picketbox. org.postgresql.
	org.quartz. org.reactivestreams. org.redisson. org.rocksdb. org.slf4j. org.sonatype. org.springframework. org.sqlite. org.thymeleaf. org.testcontainers. org.vibur. org.wildfly. org.xerial. org.xnio. org.yaml. org.zeromq.
	play. ratpack. reactor. redis.clients. retrofit2. rx. scalaz. cats. slick. software.amazon. springfox. tech.ydb. weblogic. zio. zipkin2.
`)

// goStandard is the first part of the paths of Go's own packages.
var goStandard = setOf(`
	archive bufio builtin bytes cmp compress container context crypto database debug embed encoding errors expvar flag fmt go hash html image index internal io iter
	log maps math mime net os path plugin reflect regexp runtime slices sort strconv strings structs sync syscall testing text time type unicode unique unsafe vendor weak
`)

// goLibraries are paths of packages, for programs that were built with trimmed
// paths and no versions in them.
var goLibraries = strings.Fields(`
	cloud.google.com/ filippo.io/ github.com/aws/ github.com/Azure/ github.com/ClickHouse/ github.com/DataDog/ github.com/IBM/sarama/ github.com/Shopify/sarama/ github.com/cenkalti/ github.com/cespare/ github.com/confluentinc/
	github.com/dgraph-io/ github.com/docker/ github.com/eclipse/ github.com/elastic/ github.com/fsnotify/ github.com/getsentry/ github.com/gin-gonic/ github.com/go-chi/ github.com/go-kit/ github.com/go-redis/
	github.com/go-sql-driver/ github.com/gocql/ github.com/gofiber/ github.com/golang/ github.com/gogo/ github.com/google/ github.com/gorilla/ github.com/grafana/ github.com/grpc-ecosystem/ github.com/hashicorp/ github.com/jackc/
	github.com/jmoiron/ github.com/julienschmidt/ github.com/klauspost/ github.com/labstack/ github.com/lib/pq/ github.com/mattn/ github.com/mongodb/ github.com/nats-io/ github.com/nsqio/ github.com/open-telemetry/ github.com/opentracing/
	github.com/patrickmn/ github.com/pkg/ github.com/prometheus/ github.com/quic-go/ github.com/rabbitmq/ github.com/redis/ github.com/robfig/ github.com/rs/ github.com/segmentio/ github.com/sirupsen/ github.com/spf13/ github.com/streadway/
	github.com/stretchr/ github.com/twmb/ github.com/uber/ github.com/urfave/ github.com/valyala/ go.etcd.io/ go.mongodb.org/ go.opencensus.io/ go.opentelemetry.io/ go.uber.org/ golang.org/x/ google.golang.org/
	gopkg.in/ gorm.io/ k8s.io/ modernc.org/ nhooyr.io/ sigs.k8s.io/
`)

// pythonStandard is the modules of Python's own library that stacks are made of.
var pythonStandard = setOf(`
	_bootstrap_external _pydecimal abc argparse ast asyncio base64 bdb cmd code codecs collections concurrent contextlib contextvars copy csv ctypes datetime decimal dis email encodings enum functools
	gc getpass gzip hashlib heapq hmac html http imaplib importlib inspect io ipaddress itertools json linecache logging mailbox mimetypes multiprocessing numbers operator os pathlib pdb pickle pkgutil platform
	poplib pprint profile queue random re runpy sched selectors shelve shutil signal smtplib socket socketserver sqlite3 sre_compile sre_parse ssl stat statistics string subprocess sysconfig tarfile tempfile
	textwrap threading time timeit tokenize traceback tracemalloc types typing unittest urllib uuid warnings weakref wsgiref xml xmlrpc zipfile zipimport zoneinfo
`)

var pythonLibraries = setOf(`
	aiohttp aiokafka aiomysql aiopg aioredis amqp anyio apscheduler asgiref asyncpg billiard boto3 botocore bottle cassandra celery certifi cherrypy click clickhouse_driver confluent_kafka cx_Oracle cryptography ddtrace django
	docker dramatiq elasticsearch eventlet falcon fastapi flask gevent google greenlet grpc gunicorn h11 hiredis httpcore httptools httpx huey hypercorn jinja2 kafka kazoo kombu kubernetes ldap ldap3 lxml memcache mysql MySQLdb
	newrelic numpy opentelemetry oracledb pandas paramiko peewee pika prometheus_client psycopg psycopg2 psycopg_pool pyarrow pydantic pymemcache pymongo pymysql pyodbc redis requests rq s3transfer sanic scipy sentry_sdk sklearn
	sqlalchemy starlette tenacity tensorflow torch tornado twisted urllib3 uvicorn uvloop uwsgidecorators vine waitress werkzeug wrapt yaml zeep zmq zope
`)
