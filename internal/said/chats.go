package said

// chatTexts is what the bot in chats refuses, of accounts, buttons and commands.
var chatTexts = map[string]string{
	// commands
	"I do not know that command": "такой команды я не знаю",
	"see /help":                  "см. /help",
	"that was too much in one minute: I do not listen to you until it is over": "слишком много за одну минуту: до её конца я вас не слушаю",
	"a message that was edited does nothing: send it anew":                     "исправленное сообщение ничего не делает: отправьте новое",
	"a forwarded message does nothing: write it yourself":                      "пересланное сообщение ничего не делает: напишите сами",
	"nobody has allowed me to work in this channel":                            "работать в этом канале мне никто не разрешал",
	"write to me alone; or an admin adds %s to chat.%s.channels":               "напишите мне лично; или администратор добавит %s в chat.%s.channels",
	"say which service, and why":                                               "укажите, какой сервис и почему",
	"/%s SERVICE [ENVIRONMENT] REASON":                                         "/%s СЕРВИС [ОКРУЖЕНИЕ] ПРИЧИНА",
	"say which run":                                                            "укажите, какой запуск",
	"/status RUN; /runs lists them":                                            "/status ЗАПУСК; список — /runs",
	"say which run, and a sentence":                                            "укажите, какой запуск, и пояснение",
	"/%s RUN SENTENCE; /approvals lists what waits":                            "/%s ЗАПУСК ПОЯСНЕНИЕ; что ждёт — /approvals",
	"run %s is a plan that nobody has started":                                 "запуск %s — план, который никто не запустил",
	"nothing is started in %s from a chat":                                     "в окружении %s из чата ничего не запускают",
	"in %s a run goes on from the page alone":                                  "в окружении %s запуск продолжают только со страницы",

	// accounts
	"I do not know you here yet": "я вас здесь пока не знаю",
	"make a code on your profile page, %s/profile, and send me /link CODE in a private chat": "создайте код на странице своего профиля, %s/profile, и пришлите мне /link КОД в личном чате",
	"accounts are linked in a private chat with me, and this code is over now":               "учётные записи привязывают в личном чате со мной, а этот код больше не действует",
	"make another on your profile page, %s/profile":                                          "создайте другой на странице своего профиля, %s/profile",
	"make another on your profile page":                                                      "создайте другой на странице своего профиля",
	"the code is missing":                                                                    "не хватает кода",
	"your profile page makes one, %s/profile: /link CODE":                                    "его создаёт страница вашего профиля, %s/profile: /link КОД",
	"that code is not good: it is mistyped, used, or more than ten minutes old":              "код не подходит: в нём опечатка, он использован или ему больше десяти минут",
	"this account is linked to %s already":                                                   "эта учётная запись уже привязана к %s",
	"send me /unlink first, then a new code":                                                 "сначала пришлите мне /unlink, потом новый код",
	"%s has linked %d accounts, and can link no more":                                        "у %s уже %d {привязанная учётная запись|привязанные учётные записи|привязанных учётных записей}, больше привязать нельзя",
	"remove one on your profile page":                                                        "уберите одну на странице своего профиля",
	"that account is nobody's here":                                                          "эта учётная запись здесь ничья",

	// buttons
	"this button is somebody else's":                                 "это чужая кнопка",
	"ask for your own: /restart SERVICE REASON":                      "попросите свою: /restart СЕРВИС ПРИЧИНА",
	"this button has been pressed already: it is good for one press": "эту кнопку уже нажали: она действует один раз",
	"this button is too old":                                         "эта кнопка устарела",
	"ask anew: what it showed may not be true any more":              "попросите заново: показанное могло измениться",
	"this button belongs to another message":                         "эта кнопка от другого сообщения",
	"press the one below the message that I have sent":               "нажмите ту, что под моим сообщением",
	"that was too quick: press once more":                            "слишком быстро: нажмите ещё раз",
	"this button does nothing any more":                              "эта кнопка больше ничего не делает",
	"look at the message as it is now, or ask anew":                  "посмотрите, каким сообщение стало, или попросите заново",
}
