"""Frequent words of the languages that generated speakers speak besides English (`training.speakers.speech.sentences`).

Each list has every sound of its language that shows in the mouth. English has a grammar of its own in
`training.speakers.speech.vocabulary`. Names are espeak-ng's.
"""

_WORDS: dict[str, str] = {
    "de": """der die das ein eine nicht schön groß klein alt jung Haus Baum Straße Freund Mädchen Junge Frau Mann Kind
        Wasser Feuer Buch Tür Fenster Küche Vogel Fisch Pferd Schiff Zug Morgen Abend Nacht Woche Jahr heute gestern
        immer vielleicht spielen gehen kommen sprechen hören sehen laufen trinken bringen glauben möchte würde könnte
        über unter zwischen durch für mit ohne warum wohin zwölf fünf acht Zeitung Zucker Pfeffer jemand euch Leute
        Übung Öl Garage Mutter Vater Bruder Tochter Sommer Boden Obst weiß blau gelb""",
    "fr": """le la les un une petit grand bon beau vieux jeune maison arbre rue ami fille garçon femme homme enfant eau
        feu livre porte fenêtre cuisine oiseau poisson cheval bateau train matin soir nuit semaine année hier demain
        toujours jamais peut-être jouer manger venir parler entendre voir courir boire croire voudrait pourrait sur sous
        entre avec sans pourquoi comment huit cinq deux quatre vingt montagne champagne pain vin blanc brun bonjour
        monde peu peur sœur œuf lune rouge jaune bleu oui nous vous tout chose chambre jardin gentil""",
    "es": """el la los una pequeño grande bueno viejo joven casa árbol calle amigo niña muchacho mujer hombre agua fuego
        libro puerta ventana cocina pájaro pez caballo barco tren mañana tarde noche semana año hoy ayer siempre nunca
        quizás jugar comer venir hablar escuchar mirar correr beber creer quiere puede sobre bajo entre con sin porque
        cómo cinco ocho diez veinte montaña leche queso jefe gente rojo azul verde lluvia guerra ciudad vecino zapato
        chocolate llave perro bueno fuerte voy muy""",
    "it": """il la un una piccolo grande buono vecchio giovane casa albero strada amico ragazza ragazzo donna uomo acqua
        fuoco libro porta finestra cucina uccello pesce cavallo barca treno mattina sera notte settimana anno oggi ieri
        sempre mai forse giocare mangiare venire parlare sentire vedere correre bere credere vuole può sopra sotto fra
        con senza perché come cinque otto dieci venti montagna latte formaggio gente rosso azzurro verde pioggia guerra
        città zucchero scarpa cioccolato chiave famiglia figlio bagno giardino scuola zio""",
    "pt-br": """o a os uma pequeno grande bom velho jovem casa árvore rua amigo menina rapaz mulher homem água fogo
        livro porta janela cozinha pássaro peixe cavalo barco trem manhã tarde noite semana ano hoje ontem sempre nunca
        talvez brincar comer vir falar ouvir ver correr beber quer pode sobre entre com sem porque como cinco oito dez
        vinte montanha leite queijo gente vermelho azul verde chuva guerra cidade vizinho sapato coração pão mãe irmão
        não muito bem filho trabalho avião limões tempo também quando""",
    "nl": """de het een niet mooi groot klein oud jong huis boom straat vriend meisje jongen vrouw man kind water vuur
        boek deur raam keuken vogel vis paard schip trein morgen avond nacht week jaar vandaag gisteren altijd misschien
        spelen gaan komen spreken horen zien lopen drinken brengen geloven zou kunnen over onder tussen door voor met
        zonder waarom twaalf vijf acht negen krant suiker peper moeder vader broer dochter zomer geel blauw rood nieuw
        goed schaap tuin neus lief ook juist""",
    "sv": """den det en ett inte vacker stor liten gammal ung hus träd gata vän flicka pojke kvinna man barn vatten eld
        bok dörr fönster kök fågel fisk häst skepp tåg morgon kväll natt vecka år idag igår alltid kanske leka gå komma
        tala höra se springa dricka tro skulle kunna över under mellan genom för med utan varför tolv fem åtta nio
        tidning socker peppar mor far bror dotter sommar gul blå röd ny god sjö stjärna kyrka jul mjölk söndag""",
    "pl": """ten ta to jest nie ładny duży mały stary młody dom drzewo ulica przyjaciel dziewczyna chłopiec kobieta
        człowiek dziecko woda ogień książka drzwi okno kuchnia ptak ryba koń statek pociąg rano wieczór noc tydzień rok
        dzisiaj wczoraj zawsze może bawić iść przyjść mówić słyszeć widzieć biegać pić wierzyć chce nad pod między przez
        dla z bez dlaczego dwanaście pięć osiem dziewięć gazeta cukier pieprz matka ojciec brat córka lato żółty czarny
        czerwony nowy dobry mięso zęby wąż ręka żaba szkoła chleb ćma źródło""",
    "ru": """этот эта не красивый большой маленький старый молодой дом дерево улица друг девочка мальчик женщина человек
        ребёнок вода огонь книга дверь окно кухня птица рыба лошадь корабль поезд утро вечер ночь неделя год сегодня
        вчера всегда может играть идти прийти говорить слышать видеть бежать пить верить хочет над под между через для
        без почему двенадцать пять восемь девять газета сахар перец мать отец брат дочь лето жёлтый чёрный красный новый
        хороший мясо щука жизнь широкий чай школа юг ящик съезд мышь""",
    "tr": """bu şu bir değil güzel büyük küçük yaşlı genç ev ağaç sokak arkadaş kız oğlan kadın adam çocuk su ateş kitap
        kapı pencere mutfak kuş balık at gemi tren sabah akşam gece hafta yıl bugün dün her zaman belki oynamak gitmek
        gelmek konuşmak duymak görmek koşmak içmek inanmak istiyor üzerinde altında arasında için ile neden nasıl on iki
        beş sekiz dokuz gazete şeker biber anne baba kardeş yaz sarı mavi kırmızı yeni iyi köprü ütü ılık dağ jandarma
        fincan göz ayı köpek""",
    "hi": """यह वह एक नहीं सुंदर बड़ा छोटा पुराना जवान घर पेड़ सड़क दोस्त लड़की लड़का औरत आदमी बच्चा पानी आग किताब
        दरवाज़ा खिड़की रसोई चिड़िया मछली घोड़ा जहाज़ रेल सुबह शाम रात हफ़्ता साल आज कल हमेशा शायद खेलना जाना आना बोलना
        सुनना देखना दौड़ना पीना मानना चाहता ऊपर नीचे बीच साथ बिना क्यों कैसे पाँच आठ नौ दस अख़बार चीनी मिर्च माँ पिता
        भाई बेटी गर्मी पीला नीला लाल नया अच्छा फूल भारत ठंडा ढोल झील चाँद ऊँट बहन मौसम ऐनक""",
    "el": """ο η το ένα δεν όμορφο μεγάλο μικρό παλιό νέο σπίτι δέντρο δρόμος φίλος κορίτσι αγόρι γυναίκα άνθρωπος παιδί
        νερό φωτιά βιβλίο πόρτα παράθυρο κουζίνα πουλί ψάρι άλογο καράβι τρένο πρωί βράδυ νύχτα εβδομάδα χρόνος σήμερα
        χθες πάντα ίσως παίζω πηγαίνω έρχομαι μιλάω ακούω βλέπω τρέχω πίνω πιστεύω θέλει πάνω κάτω μεταξύ με χωρίς γιατί
        πώς πέντε οκτώ εννέα δέκα εφημερίδα ζάχαρη πιπέρι μητέρα πατέρας αδελφός κόρη καλοκαίρι κίτρινο μπλε κόκκινο
        καλό χέρι γη θάλασσα γκρίζο τζάκι τσάι άγγελος""",
    "fi": """tämä tuo yksi ei kaunis suuri pieni vanha nuori talo puu katu ystävä tyttö poika nainen mies lapsi vesi
        tuli kirja ovi ikkuna keittiö lintu kala hevonen laiva juna aamu ilta yö viikko vuosi tänään eilen aina ehkä
        leikkiä mennä tulla puhua kuulla nähdä juosta juoda uskoa haluaa voisi päällä alla välissä kanssa ilman miksi
        kuinka viisi kahdeksan yhdeksän sanomalehti sokeri pippuri äiti isä veli tytär kesä keltainen sininen punainen
        uusi hyvä työ sänky kenkä jääkaappi hyönteinen""",
    "hu": """ez az egy nem szép nagy kicsi öreg fiatal ház fa utca barát lány fiú nő ember gyerek víz tűz könyv ajtó
        ablak konyha madár hal ló hajó vonat reggel este éjszaka hét év ma tegnap mindig talán játszik megy jön beszél
        hall lát fut iszik hisz akar fölött alatt között nélkül miért hogyan öt nyolc kilenc tíz újság cukor bors anya
        apa testvér nyár sárga kék piros új jó zsák dzsungel gyűrű tyúk fül vásár csirke süt szőlő""",
    "sw": """huyu hii moja si nzuri kubwa ndogo mzee kijana nyumba mti barabara rafiki msichana mvulana mwanamke mtu
        mtoto maji moto kitabu mlango dirisha jiko ndege samaki farasi meli treni asubuhi jioni usiku wiki mwaka leo
        jana daima labda kucheza kwenda kuja kusema kusikia kuona kukimbia kunywa kuamini anataka juu chini kati pamoja
        bila kwa nini vipi tano nane tisa kumi gazeti sukari pilipili mama baba ndugu binti njano bluu nyekundu mpya
        ng'ombe chakula shule dhahabu thelathini ghali vyombo""",
    "id": """ini itu satu tidak indah besar kecil tua muda rumah pohon jalan teman gadis anak wanita orang air api buku
        pintu jendela dapur burung ikan kuda kapal kereta pagi sore malam minggu tahun hari kemarin selalu mungkin
        bermain pergi datang bicara dengar lihat lari minum percaya ingin di atas bawah antara dengan tanpa mengapa
        bagaimana lima delapan sembilan sepuluh koran gula lada ibu ayah saudara kuning biru merah baru baik nyanyi
        syukur khusus pulau sungai hijau cinta""",
    "cmn": """这 那 一个 不 漂亮 大 小 老 年轻 房子 树 街道 朋友 女孩 男孩 女人 男人 孩子 水 火 书 门 窗户 厨房 鸟 鱼
        马 船 火车 早上 晚上 夜里 星期 年 今天 昨天 总是 也许 玩 去 来 说话 听见 看见 跑步 喝茶 相信 想要 上面 下面
        中间 一起 没有 为什么 怎么 五 八 九 十 报纸 糖 妈妈 爸爸 哥哥 女儿 夏天 黄色 蓝色 红色 新 好 月亮 音乐 学校
        雪 热 日本 吃饭 中国 四 词 绿 旅行 翁""",
    "ja": """これ それ ひとつ ない きれい おおきい ちいさい ふるい わかい いえ き みち ともだち おんなのこ おとこのこ
        ひと こども みず ひ ほん ドア まど だいどころ とり さかな うま ふね でんしゃ あさ ばん よる しゅうかん とし
        きょう きのう いつも たぶん あそぶ いく くる はなす きく みる はしる のむ しんじる ほしい うえ した あいだ
        いっしょ なぜ どう ご はち きゅう じゅう しんぶん さとう おかあさん おとうさん あに むすめ なつ きいろ あお
        あか あたらしい いい がっこう つき ふゆ りょこう ぎゅうにゅう やま ずっと ざっし シャツ""",
}

WORDS_OF_LANGUAGE: dict[str, tuple[str, ...]] = {language: tuple(words.split()) for language, words in _WORDS.items()}
