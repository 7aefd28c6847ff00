package said

// auditTexts are sentences of reading the audit trail.
var auditTexts = map[string]string{
	"%s is no area of the audit trail":                                        "такой области в журнале аудита нет: %s",
	"there is no form %s of an export":                                        "выгрузки в виде %s нет",
	"there are more than %d such records, the most that one file has":         "таких записей больше %d, а больше в один файл не входит",
	"ask for fewer days at a time":                                            "возьмите меньше дней за раз",
	"the search for the records of the file took longer than %s":              "поиск записей для файла занял больше %s",
	"ask for fewer days at a time, or without words":                          "возьмите меньше дней за раз или уберите слова",
	"nothing is recorded of run %s":                                           "о запуске %s ничего не записано",
	"there is no audit record %d":                                             "записи аудита %d нет",
	"records expire of one source, after some time, and when a sink has them": "записи удаляются у одного источника, по истечении срока и когда они есть у получателя",
	"such as 30d or 12h":                                                      "например, 30d или 12h",
}
