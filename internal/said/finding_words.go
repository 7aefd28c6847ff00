package said

import (
	"cmp"

	"github.com/restartilka/restartilka/internal/dump"
	"github.com/restartilka/restartilka/internal/dump/analyse"
	"github.com/restartilka/restartilka/internal/restart"
)

// pair is a word in English and in Russian.
type pair [2]string

func (p pair) in(l Language) string {
	if l == Russian {
		return p[1]
	}
	return p[0]
}

// ThreadState says in what state a thread is. What is none stays as it is, escaped.
func ThreadState(l Language, s dump.State) string {
	return cmp.Or(threadStates[s].in(l), restart.Escape(string(s)))
}

// Doing says what threads do, and with whom.
func Doing(l Language, d analyse.Doing) string {
	verb := cmp.Or(doings[cmp.Or(d.Kind, analyse.NotTold)].in(l), restart.Escape(string(d.Kind)))
	switch d.Kind {
	case analyse.SocketRead, analyse.Polls:
		return cmp.Or(answers[d.Peer].in(l), verb)
	case analyse.SocketWrite:
		return cmp.Or(sends[d.Peer].in(l), verb)
	case analyse.Connects:
		return cmp.Or(connects[d.Peer].in(l), verb)
	}
	return verb
}

// threadStates are the words for states of threads.
var threadStates = map[dump.State]pair{
	"running":       {"running", "работает"},
	"blocked":       {"blocked", "ждёт блокировку"},
	"waiting":       {"waiting", "ждёт"},
	"timed-waiting": {"waiting, timed", "ждёт, с таймаутом"},
	"io":            {"in I/O", "ввод-вывод"},
	"stopped":       {"stopped", "остановлен"},
	"new":           {"new", "не запущен"},
	"ended":         {"ended", "завершён"},
	"unclear":       {"unclear", "неизвестно"},
}

// doings are what threads do.
var doings = map[analyse.DoingKind]pair{
	"cpu":          {"computes", "считает"},
	"socket-read":  {"reads from a socket", "читает из сокета"},
	"socket-write": {"writes to a socket", "пишет в сокет"},
	"connect":      {"connects to somebody", "подключается"},
	"accept":       {"waits for somebody to connect", "ждёт подключений"},
	"poll":         {"waits for any of its sockets", "ждёт событий на сокетах"},
	"resolve":      {"resolves a name", "узнаёт адрес по имени"},
	"file":         {"reads or writes a file", "читает или пишет файл"},
	"lock":         {"waits for a lock", "ждёт блокировку"},
	"borrow":       {"waits for a connection", "ждёт соединения"},
	"sleep":        {"sleeps", "спит"},
	"result":       {"waits for another thread's result", "ждёт результата другого потока"},
	"child":        {"waits for another process", "ждёт другой процесс"},
	"channel":      {"waits on a channel", "ждёт на канале"},
	"work":         {"waits for work", "ждёт работы"},
	"wait":         {"waits to be woken", "ждёт, пока разбудят"},
	"stopped":      {"is stopped", "остановлен"},
	"unclear":      {"does what the dump does not tell", "делает то, о чём дамп не говорит"},
}

// answers, sends and connects are the same with somebody.
var answers = map[analyse.Peer]pair{
	"database":  {"waits for the database", "ждёт ответа от базы данных"},
	"http":      {"waits for the HTTP server", "ждёт ответа от HTTP-сервера"},
	"cache":     {"waits for the cache", "ждёт ответа от кэша"},
	"queue":     {"waits for the queue", "ждёт ответа от очереди сообщений"},
	"directory": {"waits for the directory", "ждёт ответа от каталога"},
	"mail":      {"waits for the mail server", "ждёт ответа от почтового сервера"},
	"dns":       {"waits for the DNS", "ждёт ответа от DNS"},
}

var sends = map[analyse.Peer]pair{
	"database":  {"sends to the database", "отправляет данные базе данных"},
	"http":      {"sends to the HTTP server", "отправляет данные HTTP-серверу"},
	"cache":     {"sends to the cache", "отправляет данные кэшу"},
	"queue":     {"sends to the queue", "отправляет данные очереди сообщений"},
	"directory": {"sends to the directory", "отправляет данные каталогу"},
	"mail":      {"sends to the mail server", "отправляет данные почтовому серверу"},
	"dns":       {"sends to the DNS", "отправляет данные в DNS"},
}

var connects = map[analyse.Peer]pair{
	"database":  {"connects to the database", "подключается к базе данных"},
	"http":      {"connects to the HTTP server", "подключается к HTTP-серверу"},
	"cache":     {"connects to the cache", "подключается к кэшу"},
	"queue":     {"connects to the queue", "подключается к очереди сообщений"},
	"directory": {"connects to the directory", "подключается к каталогу"},
	"mail":      {"connects to the mail server", "подключается к почтовому серверу"},
	"dns":       {"connects to the DNS", "подключается к DNS"},
}

// findingNames are what findings are about, in Russian.
var findingNames = map[analyse.FindingKind]string{
	"fatal":                 "упала",
	"deadlock":              "взаимная блокировка",
	"stopped":               "остановленные потоки",
	"zombie":                "завершённый процесс",
	"connections-exhausted": "нет свободных соединений",
	"lock-held":             "очередь к блокировке",
	"lock-untold":           "очередь к блокировке",
	"all-blocked":           "всё ждёт блокировки",
	"disk":                  "потоки, висящие на диске",
	"pool-exhausted":        "полностью занятый пул",
	"leak":                  "копящиеся горутины",
	"same-place":            "много потоков в одном месте",
	"stuck":                 "потоки, не сдвинувшиеся с места",
	"hot":                   "поток, занявший ядро",
	"collector-hot":         "много сборки мусора",
	"interpreter-lock":      "поток, не отдающий интерпретатор",
	"long-wait":             "долгое ожидание",
	"cut":                   "неполный дамп",
	"not-understood":        "неразобранные строки",
	"nothing":               "ничего заметного",
	"no-threads":            "нет потоков",
	"hosts-same-place":      "хосты в одном месте",
	"outlier":               "отличающийся хост",
}

// aspects are what was looked for, in Russian.
var aspects = map[analyse.Aspect]string{
	"deadlocks":        "взаимные блокировки",
	"locks":            "очереди к блокировкам",
	"connections":      "пулы соединений",
	"pools":            "пулы потоков",
	"goroutines":       "утечки и долгие ожидания горутин",
	"interpreter-lock": "блокировка интерпретатора",
	"states":           "состояния в ядре",
	"stuck":            "неподвижные потоки",
	"cpu":              "время процессора по потокам",
}
