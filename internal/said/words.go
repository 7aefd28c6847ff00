package said

// words are the words that stand in the sentences as values.
var words = map[string]string{
	"draft": "черновик", "awaiting_approval": "ждёт одобрения", "rejected": "отклонён", "queued": "в очереди", "running": "идёт", "paused": "на паузе",
	"waiting": "ждёт", "started": "начат", "missed": "пропущен",
	"completed": "выполнен", "failed": "не выполнен", "aborted": "прерван",
	"planned": "ждёт", "intent_logged": "начинается", "dispatching": "отправляется", "accepted": "принято", "succeeded": "готово", "timed_out": "не успел",
	"cancelled": "отменено", "refused": "отказано", "unreachable": "недоступен", "not_started": "не начато", "unknown": "неизвестно",
	"approved": "одобрен", "withdrawn": "отозван", "expired": "истёк", "waived": "без одобрения",
	"operator": "по просьбе человека", "failure": "ошибка на хосте", "hold": "остановка после первой порции", "gate": "слишком мало здоровых хостов", "freeze": "действует заморозка",
	"audit_backlog": "удалённый журнал не успевает", "interrupted": "работа сервера прервалась", "lock_lost": "потеряна блокировка сервиса", "rights_lost": "у человека больше нет прав",
	"happened": "выполнено", "did-not": "не выполнено", "again": "ещё раз",
	"drain": "вывод из балансировки", "run": "скрипт", "health": "проверка здоровья", "undrain": "возврат в балансировку", "evidence": "свидетельства",
	"journal": "журнал", "process": "процесс", "thread-dump": "дамп потоков", "jvm and python": "jvm и python",
	"none": "нет", "nobody": "никто", "no environment": "без окружения", "no service": "сервис", "another task": "другое задание", "no project": "без проекта", "data centre": "дата-центр", " while it ran": " во время работы", "everything": "всего", "everybody": "все", "others": "другие",
	"a moment": "мгновение", "an unknown one": "неизвестный", "an admin": "администратор", "backup": "копия",
	"service": "сервис", "services": "сервисы", "host": "хост", "group": "группа", "environment": "окружение", "project": "проект", "scenario": "сценарий", "parameter": "параметр",
	"package": "пакет", "unit": "юнит", "user": "пользователь", "tag": "метка", "digest": "отпечаток", "id": "номер", "serial": "номер", "token": "токен", "task": "задание",
	"ready": "готов", "pid file": "pid-файл", "port": "порт", "unix and others": "unix и прочие",
	"has joined the group": "теперь в группе", "a rehearsal": "репетиция",
	"ahead": "спешат", "behind": "отстают", "ahead of": "спешат", "older": "старше", "newer": "новее",
	"Mon": "пн", "Tue": "вт", "Wed": "ср", "Thu": "чт", "Fri": "пт", "Sat": "сб", "Sun": "вс",
}
