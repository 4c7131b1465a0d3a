"""The vocabulary of data sets: words that people name folders and files by, in small letters without accents.

Words of scripts without gaps stand apart; they are looked for anywhere in a name.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


GOOD = _words(
    """
    correct complete usable working works satisfactory sound safe fresh qualified unspoiled richtig
    good goods goodone goodones ok oks okay okey normal normals normality pass passed passes passing clean perfect
    golden accept accepted acceptable accepts conforming compliant conform conformant healthy intact flawless
    faultless undamaged unblemished defectfree faultfree nodefect nodefects nondefect nondefects nondefective
    nondefectives free gut gute guten guter gutes gutteil io fehlerfrei fehlerfreie einwandfrei mangelfrei bon bons
    bonne bonnes conforme conformes sain saine sains saines bueno buenos buena buenas correcto correctos correcta
    correctas aprobado aprobados sano sanos buono buoni buona buone conformi accettato accettati idoneo idonei sani
    bom boa boas aprovado aprovados perfeito perfeitos goed goede godkand godkanda bra hyva dobre dobry dobra
    dobrze iyi saglam hatasiz kusursuz хорошие хорошии хорошо годные годен годныи норма нормальные
    aceptado aceptados aceptada aceptadas aceptable aceptables acceptabel godkant godkjent goedgekeurd goedgekeurde
    prima bestanden aprovada aprovadas aprobada aprobadas conforma dobri dobro zgodne zgodny sprawne sprawny poprawne
    shodne shodny vyhovujici bezvadne bezvadny jo normale normali normaux saudavel
    saudaveis uygun normalne исправные исправныи исправен нормальныи нормально хорошая kunnossa ehja intatto intatti
    integro integri perfetto perfetti perfekt perfekte parfait parfaits uncracked unscratched defectless flawfree
    """
)

BAD = _words(
    """
    incorrect incomplete unusable unsatisfactory irregular unsound
    unsafe spoiled spoilt rotten kaputt falsch unqualified
    malfunction
    bad bads badone badones ng ngs nok noks notok nogood ko fail fails failed failing failure failures faulty fault
    faults defect defects defective defectives defected defectiv def defs abnormal abnormals abnormality
    abnormalities anomaly anomalies anomalous anomal anomalie anomalien anomalia anomalias anomali reject rejects
    rejected rejection rejections scrap scrapped flaw flaws flawed damaged damage damages broken blemished error
    errors erroneous err outlier outliers poor wrong invalid nonconforming nonconformant nonconform nonconformity
    unacceptable unaccepted notgood nonconforme nonconformes nonconformi inconforme inconformes schlecht schlechte
    schlechten schlechtteil nio nichtio fehler fehlerhaft fehlerhafte fehlteil defekt defekte defekten ausschuss
    mangel mangelhaft mangelhafte schaden beschadigt beschadigte defaut defauts defectueux defectueuse defectueuses
    mauvais mauvaise mauvaises rebut rebuts anormal anormale anormaux defecto defectos defectuoso defectuosos
    defectuosa defectuosas malo malos mala malas rechazo rechazos rechazado rechazados anomalo anomalos anormales
    difetto difetti difettoso difettosi difettosa difettose scarto scarti scartato scartati cattivo cattivi anomale
    defeito defeitos defeituoso defeituosos defeituosa ruim ruins reprovado reprovados anormais slecht slechte fout
    fouten afkeur afgekeurd dalig daliga felaktig felaktiga underkand fel viallinen vika wadliwe wadliwy wada wady
    zle zly odrzut odrzuty vadne vadny vada vady spatne zmetek zmetky hatali kusurlu bozuk hata kusur брак дефект
    дефекты дефектные плохие плохо негодные
    dirty dirt nogo nogos fehlteile mangelhafter verworfen abweichung abweichungen abgelehnt abgelehnte ungut gebrochen
    defeituosas inaceptable inaceptables refuse refuses casse casses abime abimes danneggiato danneggiati rotto rotti
    roto rotos danado danados danificado danificados quebrado quebrados beschadigde beschadigd kapot kapotte kotu
    arizali defolu underkanda underkant odottamaton uszkodzone uszkodzony niezgodne niezgodny odrzucone poskozene
    poskozeny neshodne neshodny nedobre hibas serult sikertelen плохая бракованные бракованныи повреждения
    поврежденные неисправные неисправныи ошибка ungood vikaa virheellinen rikki
    """
)

# Types of defects that folders are named by, where no other word tells.
DEFECT_TYPES = _words(
    """
    mousebite spur spurs spurious opencircuit shortcircuit
    crack cracks cracked scratch scratches scratched dent dents dented stain stains stained hole holes
    contamination contaminations contaminated bent missing misplaced chipped chipping torn tear tears rust rusted
    corrosion corroded blowhole blowholes burr burrs fray frayed uneven misprint misprints deformed deformation
    misaligned misalignment squeezed squeeze poke discolored discoloured discoloration discolouration bubble
    bubbles porosity wrinkle wrinkles leak leaking riss risse kratzer delle dellen bruch verschmutzung verschmutzt
    fissure fissures rayure rayures grieta grietas aranazo aranazos graffio graffi crepa crepe macchia macchie
    risco riscos trinca trincas
    """
)

# Words of a verdict that mean good to some and defect to others.
UNSURE = _words(
    """
    positive positives negative negatives pos neg true false yes oui
    """
)

# They turn the next word round.
NO = _words(
    """
    no not non n none without w/o nicht kein keine keinen ohne sans sin senza sem bez zero pas un nie ikke inte
    niet
    """
)

# They turn the word that they begin round.
NO_SYLLABLES = _words(
    """
    in im ir il un dis mis non not a an de не нe 不 非 未 无 無 不是 비 불 미
    """
)

# They turn the word before them round.
FREE = _words(
    """
    free frei freie less los libre libres
    """
)

SPLITS = {
    **dict.fromkeys(
        _words("""
    treino lern trains learning training apprentissage addestramento train entrainement treinamento learn lernen
    entrenamiento trainings trainset traindata
    """),
        "train",
    ),
    **dict.fromkeys(
        _words("""
    val dev validacao validierung validation validate valid validacion valset vals
    """),
        "val",
    ),
    **dict.fromkeys(
        _words("""
    evaluation prueba teste testen testes pruebas tests testing testdata test testset eval
    """),
        "test",
    ),
}

MASKS = _words(
    """
    mask masks masken maske masque masques mascara mascaras maschera maschere gt gts groundtruth segmentation
    segmentations segmentationclass segmentationobject segmentationclassraw segmap segmaps
    """
)

# Folders of masks, or of labels that are products.
MAYBE_MASKS = _words(
    """
    label labels lable lables annotation annotations annot annots anno seg segs
    """
)

# They say only that there are images.
PICTURES = _words(
    """
    image images img jpeg jpg png imgs pic pics picture pictures photo photos jpegimages jpegs rgb data dataset
    datasets bilder bild imagenes imagen immagini imagens frames raw original originals
    """
)

# Nouns that are joined to a word: okparts, gutteile.
NOUNS = tuple(
    """
    part parts image images img imgs pic pics picture pictures sample samples data dir folder set piece pieces item
    items product products photo photos teil teile bild bilder class front back top side view views
    """.split()  # noqa: SIM905
)

# After a word of defects they name a field of work, not the parts in the folder.
FIELDS = _words(
    """
    detection detector inspection recognition segmentation classification analysis
    """
)

# Beginnings that are enough, in all inflections; what denies them is known as a whole word.
BAD_BEGINNINGS = tuple(
    """
    defect defekt defeit difett defectu fehlerh beschadig anomal abnormal anormal rechaz reject scartat rebut wadliw
    uszkodz poskoz hatal kusurl bozuk ariza danneggia danific beschad abgelehnt inaccept inacept inaccett nonconf
    дефект бракован плох негодн неисправн поврежд
    """.split()  # noqa: SIM905
)
GOOD_BEGINNINGS = tuple(
    """
    acceptab aceptab accettab fehlerfre einwandfre mangelfre hatasiz kusursuz исправн годн хорош нормальн
    """.split()  # noqa: SIM905
)

# Words of places, times and numbers: folders that differ in them alone are of one product.
PLACES = _words(
    """
    cam cams camera cameras kamera kameras camara cameraa camera line lines linie linien ligne lignes linea linee linha
    lijn linia lot lots los lotto lote lotes lotti batch batches charge chargen partie partij seria serie series shift
    shifts schicht equipe turno turni ploeg zmiana station stations stationen anlage machine maschine cell cells zelle
    day days tag tage jour jours giorno giorni dia dias dag dzien week woche semaine month monat mois mes year jahr
    date datum run runs session sessions view views side sides seite left right top bottom front back rear upper lower
    links rechts oben unten vorne hinten gauche droite haut bas izquierda derecha sinistra destra esquerda direita
    morning evening night early late fruh spat nacht nord sud ost west north south east plant werk site hall halle
    part parts teil teile piece pieces item items unit units sample samples no nr num number id
    jan feb mar apr may jun jul aug sep oct nov dec january february march april june july august september october
    november december januar februar marz mai juni juli oktober dezember monday tuesday wednesday thursday friday
    saturday sunday montag dienstag mittwoch donnerstag freitag samstag sonntag copy kopie
    """
)
PLACE_ENDINGS = ("schicht", "tag", "linie", "kamera", "woche", "halle", "seite")

# Words that number classes, of which nobody can tell what they are.
CLASSES = _words(
    """
    class classes klasse classe clase klass cls category categorie kategorie label lbl type typ group gruppe
    """
)

# Phrases that say no to a word of defects; then words of defects; then of good parts, which some of those contain.
CJK_NOT_BAD = tuple(
    """
    无缺陷 無缺陷 無欠陥 欠陥なし 欠陥無し 无异常 無異常 異常なし 異常無し 没有缺陷 无瑕疵 無瑕疵 不良なし 무결함
    불량없음 결함없음
    """.split()  # noqa: SIM905
)

CJK_BAD = tuple(
    """
    非良 非合格 不良 不合格 不正常 不好 缺陷 欠陥 異常 异常 次品 废品 廢品 瑕疵 破损 破損 划痕 划伤 裂纹 裂紋 污渍
    脏污 气泡 毛刺 凹陷 坏 壞 劣 キズ 傷 割れ 欠け 汚れ バリ 불량 불합격 결함 비정상 이상
    """.split()  # noqa: SIM905
)

CJK_GOOD = tuple(
    """
    良品 良好 良 合格 正常 好 正品 优 優 양품 정상 합격
    """.split()  # noqa: SIM905
)

CJK_SPLITS = {
    **dict.fromkeys(
        _words("""
    训练 訓練 学習 學習 학습 훈련
    """),
        "train",
    ),
    **dict.fromkeys(
        _words("""
    验证 驗證 検証 검증
    """),
        "val",
    ),
    **dict.fromkeys(
        _words("""
    测试 測試 テスト 시험 테스트
    """),
        "test",
    ),
}

# Words beside a phrase that only say what it is of.
CJK_NOUNS = tuple(
    """
    样本 樣本 样品 图像 图片 圖像 圖片 图 数据 产品 產品 製品 画像 部品 이미지 사진 제품 품 品 件 有 あり 的 集 类
    """.split()  # noqa: SIM905
)

CJK_MASKS = tuple(
    """
    掩码 掩碼 掩膜 遮罩 标注 標註 标签 マスク アノテーション 마스크
    """.split()  # noqa: SIM905
)
